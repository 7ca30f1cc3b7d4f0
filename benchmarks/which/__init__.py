"""Trainings with planted bad examples, and the orders in which statistics put the examples."""
