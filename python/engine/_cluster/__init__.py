"""Processes of this machine or others, those of joblib, Dask and Ray, that run jobs."""
