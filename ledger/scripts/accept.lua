-- Takes requests in, in order, until the bound is reached. Repeating it changes nothing.
-- ARGV: now, bound, first wait in ms, most of what waits for one thing that the bound does not count, most of all
--   that, then 11 a request:
--   id, enrolment, topic, partition, offset, requested ms, request, key, has key, event, repeated.
-- Returns a row a request: {'new' | 'known' | 'collapsed' | 'full' | 'stopped', generation to send or 0}. What a pause
-- of its course or batch keeps back is new and not sent; 'stopped' is all that is new while everything is paused.
local bound, wait = tonumber(ARGV[2]), tonumber(ARGV[3])
local total = tonumber(redis.call('GET', count) or '0')
local function room() return bound - counted(total, tonumber(ARGV[4]), tonumber(ARGV[5])) end
local free, is_stopped = room(), is_paused('all') or is_paused('drain')
local rows = {}

-- A request that may have been answered before is judged by when it was first asked.
local function mark_repeated(entry, requested)
  local first = tonumber(redis.call('HGET', entry, 'requested'))
  redis.call('HSET', entry, 'repeated', 1, 'requested', math.min(first, requested))
end

-- Joining an entry means sharing its end, so none may join one that is given up already or that may be the next.
local function takes_more(entry)
  local seen = redis.call('HMGET', entry, 'crashes', 'failure', 'isolated')
  return seen[1] == '0' and not seen[2] and seen[3] ~= '1'
end

for at = 6, #ARGV, 11 do
  local id, enrolment, offset = ARGV[at], ARGV[at + 1], ARGV[at + 4]
  local requested, repeated = tonumber(ARGV[at + 5]), ARGV[at + 10]
  local entry, open = entry_key(id), open_key(ARGV[at + 2], ARGV[at + 3])
  local other = redis.call('HGET', waiting, enrolment)

  if redis.call('EXISTS', entry) == 1 then
    -- a bridge died before it committed; send again only what no attempt has touched
    local seen = redis.call('HMGET', entry, 'state', 'generation', 'attempts', 'waits', 'alone', 'shelf')
    local fresh = seen[1] == 'waiting' and seen[3] == '0' and seen[4] == '0' and seen[5] == '0' and not seen[6]
    if repeated == '1' then mark_repeated(entry, requested) end
    rows[#rows + 1] = {'known', fresh and tonumber(seen[2]) or 0}
  elseif redis.call('ZSCORE', open, offset) then
    rows[#rows + 1] = {'known', 0} -- collapsed earlier into an entry that is still open
  elseif is_stopped then
    rows[#rows + 1] = {'stopped', 0}
  elseif free <= 0 then
    rows[#rows + 1] = {'full', 0}
  elseif other and takes_more(entry_key(other)) then
    total, free = total + 1, free - 1
    redis.call('ZADD', open, offset, offset)
    local what = redis.call('HGET', entry_key(other), 'parked')
    if what then redis.call('HINCRBY', parked, what, 1) end
    redis.call('RPUSH', also_key(other), open, offset)
    if repeated == '1' then mark_repeated(entry_key(other), requested) end
    rows[#rows + 1] = {'collapsed', 0}
  else
    total, free = total + 1, free - 1
    redis.call('HSET', entry, 'version', 1, 'state', 'waiting', 'generation', 1, 'enrolment', enrolment,
      'open', open, 'offset', offset, 'requested', requested, 'request', ARGV[at + 6], 'event', ARGV[at + 9],
      'repeated', repeated, 'attempts', 0, 'waits', 0, 'crashes', 0, 'sweeps', 1, 'alone', 0, 'token', '',
      'accepted', now)
    if ARGV[at + 8] == '1' then redis.call('HSET', entry, 'key', ARGV[at + 7]) end
    redis.call('ZADD', open, offset, offset)
    redis.call('ZADD', ages, now, id)
    redis.call('HSET', waiting, enrolment, id)
    local scope = paused_by(enrolment)
    if scope then
      shelve(id, entry, scope)
      free = room()
    else
      redis.call('ZADD', due, now + wait, id)
    end
    rows[#rows + 1] = {'new', scope and 0 or 1}
  end
end
redis.call('SET', count, total)
return rows
