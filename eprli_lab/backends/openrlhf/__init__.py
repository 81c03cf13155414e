"""OpenRLHF's actor groups and rollout engines, driven by our loop ("One loop, two engines": docs/architecture.md)."""
