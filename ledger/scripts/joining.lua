-- Shared by every script too, for accept.lua: what an entry that is there means for a request that comes.

-- Redis would write a large number of milliseconds as 1.7e+18, which no reader takes for a whole number.
local function whole(number) return string.format('%.0f', number) end

-- A request that may have been answered before is judged by when it was first asked. An attempt that runs knows nothing
-- of that: where it announces nothing, another one follows it (settle.lua).
local function mark_repeated(entry, requested)
  local seen = redis.call('HMGET', entry, 'state', 'repeated', 'requested')
  local first = tonumber(seen[3])
  if seen[1] == 'claimed' and (seen[2] ~= '1' or requested < first) then redis.call('HSET', entry, 'again', 1) end
  redis.call('HSET', entry, 'repeated', 1, 'requested', whole(math.min(first, requested)))
end

-- Joining an entry means sharing its end, so none may join one that is given up already or that may be the next.
local function takes_more(entry)
  local seen = redis.call('HMGET', entry, 'crashes', 'failure', 'isolated')
  return seen[1] == '0' and not seen[2] and seen[3] ~= '1'
end

-- A topic that was made anew, or cut back, gives another record the offset of a request that is still open.
local function is_another(entry, enrolment, event)
  local seen = redis.call('HMGET', entry, 'enrolment', 'event')
  return seen[1] ~= enrolment or (event and seen[2] ~= event)
end

-- The same of one that joined an entry. Which one it was, an older release does not write down.
local function is_of_another(open, offset, enrolment)
  local into = redis.call('HGET', joined_key(open), offset)
  local whose = into and redis.call('HGET', entry_key(into), 'enrolment')
  return whose and whose ~= enrolment
end

-- The generation that is sent again where a bridge died, or could not send; 0 where an attempt has touched the entry.
local function to_send(entry)
  local seen = redis.call('HMGET', entry, 'state', 'generation', 'attempts', 'waits', 'alone', 'shelf')
  local fresh = seen[1] == 'waiting' and seen[3] == '0' and seen[4] == '0' and seen[5] == '0' and not seen[6]
  return fresh and tonumber(seen[2]) or 0
end

-- A click joins what waits in a run's lane, and must not wait there: the entry leaves it. The message that lies behind
-- all clicks is stale by that where another is sent here. One that waits for its time keeps it; one that is to go
-- alone, or whose course was paused meanwhile, is the sweep's to send or to put onto its shelf. Gives the generation to
-- send now, or 0.
local function promote(id, entry, enrolment, wait)
  redis.call('HSET', entry, 'promoted', 1)
  if not leave_lane(entry) then return 0 end
  local is_the_sweep_s = redis.call('HGET', entry, 'alone') == '1' or paused_by(enrolment)
  redis.call('ZADD', due, is_the_sweep_s and now or now + wait, id)
  return is_the_sweep_s and 0 or redis.call('HINCRBY', entry, 'generation', 1)
end
