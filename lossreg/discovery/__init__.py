"""Discovery: the declarations of installed packages, as entries and failures. No package is imported."""
