"""Discovery: what installed packages declare, as entries and failures, without importing any of them."""
