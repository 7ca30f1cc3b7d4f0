"""Loss health: is the loss alive, and has the model collapsed?"""
