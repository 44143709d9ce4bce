"""The formats that `import` reads: one small reader each, behind one interface (:mod:`.interface`)."""
