"""The zoo: small real trainings, sound and broken, that measure the health monitor."""
