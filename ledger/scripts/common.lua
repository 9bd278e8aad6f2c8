-- Shared by every script: key names, the clock, and the small steps that several states have in common.
-- KEYS[1] is the prefix of this consumer group's keys; ARGV[1] the time in milliseconds, 0 for the server's own clock.
local prefix = KEYS[1]
local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local due = prefix .. 'due'         -- sorted set: entry id by the time at which the sweep looks at it
local waiting = prefix .. 'waiting' -- hash: enrolment to the entry that waits for it, unclaimed
local running = prefix .. 'running' -- hash: enrolment to the entry whose attempt runs, or ran and left a debt
local count = prefix .. 'count'     -- how many offsets are open
local parked = prefix .. 'parked'   -- hash: what entries wait for to how many offsets do; see retry.lua
local breaker = prefix .. 'breaker' -- hash: how many final failures there were of late; see fail.lua
local ages = prefix .. 'ages'       -- sorted set: entry id by the time at which it was accepted
local paused = prefix .. 'paused'   -- hash: what operators paused to since when and why; see pause.lua

local function entry_key(id) return prefix .. 'entry:' .. id end
local function also_key(id) return prefix .. 'also:' .. id end
local function open_key(topic, partition) return prefix .. 'open:' .. topic .. ':' .. partition end
-- hash beside an open set: the offset of what joined an entry, to that entry
local function joined_key(open) return prefix .. 'joined:' .. string.sub(open, #prefix + #'open:' + 1) end
local function paid_key(mid) return prefix .. 'paid:' .. mid end
local function shelf_key(scope) return prefix .. 'shelf:' .. scope end -- sorted set: what waits there for a pause's end

-- What is in hand must go on though Redis is out of memory: it refuses a script's first growing command then, but none
-- after one that has written (script.c, scriptVerifyOOM; before Redis 7 scripting.c, luaRedisGenericCommand).
local function may_grow() redis.call('DEL', prefix .. 'nothing') end

-- The claim is gone: the entry waits again, under a new generation, so that every older message is stale. One that owes
-- keeps its place before all others of its enrolment: whoever lost it may be about to write that very completion, and
-- another attempt's would be a second one, under another mid.
local function unclaim(id, entry, enrolment)
  redis.call('HSET', entry, 'state', 'waiting', 'token', '', 'sweeps', 0)
  redis.call('HDEL', entry, 'begun')
  if redis.call('HGET', running, enrolment) == id and redis.call('HEXISTS', entry, 'owed') == 0 then
    redis.call('HDEL', running, enrolment)
  end
  redis.call('HSETNX', waiting, enrolment, id)
  return redis.call('HINCRBY', entry, 'generation', 1)
end

-- What waited for the end of another attempt at its enrolment goes on.
local function wake_blocked(enrolment)
  local blocked = redis.call('HGET', waiting, enrolment)
  if blocked and redis.call('HGET', entry_key(blocked), 'blocked') == '1' then
    redis.call('ZADD', due, now, blocked)
  end
end

-- An entry begins to wait for `what`, with all clicks it stands for; and does so no longer.
local function clicks_in(id, entry)
  return clicks_of(redis.call('HGET', entry, 'open'), redis.call('LRANGE', also_key(id), 0, -1))
end
local function park(id, entry, what)
  redis.call('HSET', entry, 'parked', what)
  redis.call('HINCRBY', parked, what, clicks_in(id, entry))
end
local function unpark(id, entry)
  local what = redis.call('HGET', entry, 'parked')
  if what then
    redis.call('HDEL', entry, 'parked')
    local left = redis.call('HINCRBY', parked, what, 0 - clicks_in(id, entry)) -- Lua writes -0 as no integer
    if left <= 0 then redis.call('HDEL', parked, what) end
  end
end

-- How many open offsets count towards the bound: what waits for one thing alone is let off, each up to `each`, and
-- all of it together up to `all`; so are bulk runs' requests, which have bounds of their own.
local function let_off(each)
  local found = 0
  for _, offsets in ipairs(redis.call('HVALS', parked)) do found = found + math.min(tonumber(offsets), each) end
  return found
end
local function counted(total, each, all) return total - open_of_runs() - math.min(let_off(each), all) end

-- An offset is open no longer; gives 1, or 0 where it was not.
local function close(open, offset, is_given_up)
  local closed, run = redis.call('ZREM', open, offset), run_of(open)
  redis.call('HDEL', joined_key(open), offset)
  -- with the last offset goes what an older release, which does not know of it, has left there
  if redis.call('EXISTS', open) == 0 then redis.call('DEL', joined_key(open)) end
  if run then
    if closed == 1 and is_given_up then count_for_run(run, 'given_up') end
    if redis.call('EXISTS', open) == 0 then redis.call('SREM', runs_open, run) end
  end
  return closed
end

-- An entry ends, with every offset that it stands for; gives how many these are.
local function finish(id, entry, is_given_up)
  local seen = redis.call('HMGET', entry, 'enrolment', 'open', 'offset', 'shelf')
  local closed = close(seen[2], seen[3], is_given_up)
  local also = redis.call('LRANGE', also_key(id), 0, -1)
  for n = 1, #also, 2 do closed = closed + close(also[n], also[n + 1], is_given_up) end
  redis.call('DEL', entry, also_key(id))
  redis.call('ZREM', due, id)
  redis.call('ZREM', ages, id)
  if seen[4] then redis.call('ZREM', shelf_key(seen[4]), id) end
  if redis.call('HGET', running, seen[1]) == id then redis.call('HDEL', running, seen[1]) end
  if redis.call('DECRBY', count, closed) == 0 then
    -- whatever an older release left uncounted there
    redis.call('DEL', parked, runs_open)
  end
  wake_blocked(seen[1])
  return closed
end
