-- Shared by all scripts: creating a job, announcing its changes, and the gateways that watch it.

local DELETED = 'DELETED'
local RANK = {QUEUED = 1, ENCODING = 2, DECODING = 3, SUCCEEDED = 4, FAILED = 4, CANCELLED = 4, EXPIRED = 4, DELETED = 4}
local RESULT, HOLDER = 'result:', 'holder:'
local LEFT, DIED = 'left', 'died'
local STREAM_LENGTH_MAX = 10000
local STREAM_TIME_TO_LIVE_S = 600
local OUTBOX_LENGTH_MAX = 1000000

local function over(state)
  return RANK[state] == 4
end

-- Removes values of a foreign type from a job's keys: the job then counts as lost.
local function evict_foreign(job, watchers)
  for _, key in ipairs({job, watchers}) do
    local kind = redis.call('TYPE', key).ok
    if kind ~= 'hash' and kind ~= 'none' then
      redis.log(redis.LOG_WARNING, 'arno: ' .. key .. ' held a ' .. kind .. '; removed')
      redis.call('DEL', key)
    end
  end
end

-- Creates a job, unless it exists or was deleted. Returns its state.
-- The time to live starts at the deadline, or now if the deadline has passed: a job must not expire while it is written.
local function ensure(job, origin)
  local state = redis.call('HGET', job, 'state')
  if state then
    return state
  end
  local now = redis.call('TIME')
  local expire_at_ms = math.max(tonumber(origin.deadline_at_ms), now_ms()) + origin.time_to_live_s * 1000
  redis.call('HSET', job, 'state', 'QUEUED', 'revision', 1, 'incarnation', string.format('%.0f', now[1] * 1000000 + now[2]),
    'attempt_count', 0, 'decoded_token_count', 0, 'tenant', origin.tenant, 'submitted_at_ms', origin.submitted_at_ms, 'deadline_at_ms', origin.deadline_at_ms)
  redis.call('PEXPIREAT', job, string.format('%.0f', expire_at_ms))
  return 'QUEUED'
end

-- Adds a gateway's stream to the watchers of a job. A stream that receives every change keeps receiving every change.
local function watch(job, watchers, stream, wanted)
  local present = redis.call('HGET', watchers, stream)
  if present == 'change' or present == wanted then
    return
  end
  redis.call('HSET', watchers, stream, wanted)
  redis.call('PEXPIRE', watchers, redis.call('PTTL', job))
end

-- Wakes gateways for a job that has reached a state; wanted is what the watchers of the job hold.
local function wake(wanted, job_id, state)
  for i = 1, #wanted, 2 do
    if over(state) or wanted[i + 1] == 'change' then
      -- A wake-up is a hint: a foreign value in place of a stream must not keep a job from ending.
      redis.pcall('XADD', wanted[i], 'MAXLEN', '~', STREAM_LENGTH_MAX, '*', 'job', job_id, 'state', state)
      redis.call('EXPIRE', wanted[i], STREAM_TIME_TO_LIVE_S)
    end
  end
end

-- Counts a change of a job that has reached a state, and wakes its watchers. Called last in a change.
local function announce(job, watchers, job_id, state)
  redis.call('HINCRBY', job, 'revision', 1)
  wake(redis.call('HGETALL', watchers), job_id, state)
end

-- Removes the fields of a job whose names begin with a prefix.
local function clear(job, prefix)
  for _, field in ipairs(redis.call('HKEYS', job)) do
    if string.sub(field, 1, #prefix) == prefix then
      redis.call('HDEL', job, field)
    end
  end
end

-- Notes that a worker is alive for the given time, unless it has left or died. Returns whether it is alive.
local function note_alive(worker, silence_ms)
  local state = redis.pcall('GET', worker)
  if state == LEFT or state == DIED then
    return false
  end
  redis.call('SET', worker, 'alive', 'PX', silence_ms)
  return true
end

-- Returns the number of workers that died while they held a job: holders that did not sign off and whose heartbeat has expired.
local function count_deaths(job, asking)
  local deaths = 0
  for _, field in ipairs(redis.call('HKEYS', job)) do
    if string.sub(field, 1, #HOLDER) == HOLDER then
      local worker = string.sub(field, #HOLDER + 1)
      local state = redis.pcall('GET', worker)
      if state == LEFT then
        redis.call('HDEL', job, field)
      elseif worker ~= asking and state ~= 'alive' then
        deaths = deaths + 1
      end
    end
  end
  return deaths
end

-- Appends the end of a job to the outbox of notifications. It runs in the same script as the end itself, so that every end is
-- reported exactly as it happened. Without subscriptions no outbox exists, and nothing is appended.
local function note_end(job, job_id)
  local outbox = string.sub(job, 1, #job - #('job:' .. job_id)) .. 'outbox'
  -- A foreign value in its place must not keep a job from ending.
  redis.pcall('XADD', outbox, 'NOMKSTREAM', 'MAXLEN', '~', OUTBOX_LENGTH_MAX, '*', 'job', job_id)
end

-- Returns whether a job's deadline passed at least margin_ms ago and no live worker holds it. A live worker would have ended it
-- by then.
local function abandoned(job, margin_ms)
  local deadline_at_ms = tonumber(redis.call('HGET', job, 'deadline_at_ms'))
  if not deadline_at_ms or now_ms() < deadline_at_ms + margin_ms then
    return false
  end
  for _, field in ipairs(redis.call('HKEYS', job)) do
    if string.sub(field, 1, #HOLDER) == HOLDER and redis.pcall('GET', string.sub(field, #HOLDER + 1)) == 'alive' then
      return false
    end
  end
  return true
end

-- Writes the end of a job.
local function conclude(job, watchers, job_id, state, outcome, ended_by)
  clear(job, RESULT)
  clear(job, HOLDER)
  redis.call('HSET', job, 'state', state, 'outcome', outcome, 'ended_by', ended_by)
  note_end(job, job_id)
  announce(job, watchers, job_id, state)
end
