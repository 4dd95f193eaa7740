-- What a tenant stores: a hash of bytes by the minute in which they expire, and their sum. So the sum forgets what has
-- expired, and no entry a job is needed. An image counts once for each tenant that has sent it, until it last asked.

local PERIOD_MS = 60000
local TOTAL, SWEPT, BLOB = 'total', 'swept', 'blob:'
-- A job without its results: its hash, its watchers, its idempotency key.
local JOB_BYTES = 2048

local function now_ms()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

local function period_of(at_ms)
  return math.floor(at_ms / PERIOD_MS)
end

-- Returns the bytes that an account counts now; what has expired is taken out once in a period.
local function stored_bytes(account)
  local kind = redis.call('TYPE', account).ok
  if kind ~= 'hash' then
    if kind ~= 'none' then
      redis.call('DEL', account)
    end
    return 0
  end
  local period = period_of(now_ms())
  if (tonumber(redis.call('HGET', account, SWEPT)) or 0) < period then
    -- Written first: after a removal a full Redis would let the whole script write.
    redis.call('HSET', account, SWEPT, period)
    local fields = redis.call('HGETALL', account)
    for i = 1, #fields, 2 do
      local name, value = fields[i], tonumber(fields[i + 1]) or 0
      if (tonumber(name) or period) < period then
        redis.call('HINCRBY', account, TOTAL, -value)
        redis.call('HDEL', account, name)
      elseif string.sub(name, 1, #BLOB) == BLOB and value < period then
        redis.call('HDEL', account, name)
      end
    end
  end
  return tonumber(redis.call('HGET', account, TOTAL)) or 0
end

-- Counts bytes that expire in a period.
local function count_stored(account, bytes, period)
  redis.call('HINCRBY', account, period, bytes)
  redis.call('HINCRBY', account, TOTAL, bytes)
  local end_ms = (period + 1) * PERIOD_MS
  if redis.call('PTTL', account) < end_ms - now_ms() then
    redis.call('PEXPIREAT', account, string.format('%.0f', end_ms))
  end
end

-- Takes bytes out that were counted in a period, unless they have expired since.
local function discount_stored(account, bytes, period)
  if redis.call('HGET', account, period) then
    redis.call('HINCRBY', account, period, -bytes)
    redis.call('HINCRBY', account, TOTAL, -bytes)
  end
end

-- Reads a job's field `stored`: returns the bytes that are counted for it, the period and the account; nil without.
local function read_stored(job)
  return string.match(redis.call('HGET', job, 'stored') or '', '^(%d+) (%d+) (%S+)$')
end

local function note_stored(job, account, bytes, period)
  redis.call('HSET', job, 'stored', string.format('%d %d %s', bytes, period, account))
end

-- Counts a job that was just made, once.
local function count_job(job, account)
  if not read_stored(job) then
    local period = period_of(now_ms() + redis.call('PTTL', job))
    count_stored(account, JOB_BYTES, period)
    note_stored(job, account, JOB_BYTES, period)
  end
end

-- Counts the results of a job whose tenant's account counts the job. Nothing of it may keep a job from ending: the key
-- of an account may hold a foreign type, and the user of a worker may not be allowed to write it.
local function count_results(job, result_bytes)
  local bytes, period, account = read_stored(job)
  if bytes and pcall(count_stored, account, result_bytes, tonumber(period)) then
    note_stored(job, account, bytes + result_bytes, period)
  end
end
