"""Systems side by side on a language's own gold: a grid of stages and methods, kept, scored and shown."""
