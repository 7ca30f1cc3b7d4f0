"""Hooks: how a package changes lossreg's behaviour in code. Their specifications, and the manager that calls them."""
