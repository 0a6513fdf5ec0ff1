"""What must hold before data or a model goes on, and the guard that asks. Never imports `assets`."""
