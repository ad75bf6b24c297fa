"""`w2s dashboard`: the comparison page of runs, with optuna-dashboard and Trackio beside it, all on 127.0.0.1."""
