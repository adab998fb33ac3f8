"""The arguments of tasks: literals are checked when a DAG is parsed, all of them when they are rendered."""
