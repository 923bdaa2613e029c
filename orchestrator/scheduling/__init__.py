"""Who does what next: a pure state machine, without clock, Ray or files."""
