-- Notes that a worker is alive, unless it has reported its end. Returns the time of the store, Unix milliseconds.
-- KEYS: this worker
-- ARGV: silence of a dead worker in milliseconds
note_alive(KEYS[1], ARGV[1])
local now = redis.call('TIME')
return now[1] * 1000 + math.floor(now[2] / 1000)
