"""Who computes the steps of a graph. `engine/run.py` chooses; all of them compute one step in the same way.

attempt.py       one step under its lock: inputs, function, commit
loop.py          one process that walks the graph; alone, or one of several workers
workers.py       the driver of worker processes; worker.py is what each of them runs
ray_executor.py  the driver of a Ray cluster; ray_task.py is what runs on its nodes, ray_cluster.py starts or joins it
imports.py       what workers and tasks import before they look up steps
"""
