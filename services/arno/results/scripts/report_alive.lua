-- Notes that a worker is alive, unless it has reported its end. Returns the time of the store, Unix milliseconds.
-- KEYS: this worker
-- ARGV: silence of a dead worker in milliseconds
note_alive(KEYS[1], ARGV[1])
return now_ms()
