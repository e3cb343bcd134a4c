"""Trackers: what a run writes into its folder is also logged to TensorBoard, Weights & Biases, trackio or MLflow.

processes.py starts a process for each tracker beside the training and ends it; worker.py is that process; follower.py
reads the run's folder there; tracker.py says what a tracker is, and the other modules each write to one.
"""
