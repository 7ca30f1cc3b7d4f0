"""Search for losses by the words of a problem, for the command line, the site and the catalogue."""
