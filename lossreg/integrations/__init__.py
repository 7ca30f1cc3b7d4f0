"""Other frameworks: each file needs its own, which the extra of that name installs."""
