-- Notes that a worker is alive, unless it has said that it left or dies.
-- KEYS: this worker
-- ARGV: silence of a dead worker in milliseconds
note_alive(KEYS[1], ARGV[1])
