"""Learning the weights of the default projector and of corpus mode."""
