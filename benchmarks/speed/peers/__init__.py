"""One module per program: ``prepare(problem)`` gives ``solve(tol)``, a list of W (d, T).

Each is imported in the environment of its own, so it imports its program and NumPy only.
"""
