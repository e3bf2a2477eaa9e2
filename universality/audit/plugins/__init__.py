"""Whether a plugin keeps its contract: a file of questions for each kind, asked before anything is trained with it."""
