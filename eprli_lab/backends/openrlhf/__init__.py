"""OpenRLHF's actor groups and rollout engines, driven by our loop (DESIGN section 3, "One loop, two engines")."""
