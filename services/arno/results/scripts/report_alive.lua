-- Notes that a worker is alive, unless it has reported its end.
-- KEYS: this worker
-- ARGV: silence of a dead worker in milliseconds
note_alive(KEYS[1], ARGV[1])
