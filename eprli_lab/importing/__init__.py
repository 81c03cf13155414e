"""Logs of other trainers, brought into a study of the tracking store.

A file becomes a `Log` (whatever was logged, under the trainer's keys), a log becomes an `ImportedRun` (our metrics
where the meaning is equal, the rest under `imported/`), runs become a study. Nothing is written before all is read.
"""
