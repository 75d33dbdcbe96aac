"""What people touch: the `ichor` command, the supervisor, the web application and the demo."""
