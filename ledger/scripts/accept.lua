-- Takes requests in, in order, until the bound is reached. Repeating it changes nothing.
-- ARGV: now, bound, first wait in ms, most of what waits for one thing that the bound does not count, most of all
--   that, most open requests of one bulk run, then 12 a request:
--   id, enrolment, topic, partition, offset, requested ms, request, key, has key, event, repeated, bulk run or ''.
-- Returns a row a request: {'new' | 'known' | 'collapsed' | 'full' | 'stopped' | 'taken', generation to send or 0,
--   whose}.
-- 'taken': another request is open under this offset, of a topic that was made anew or cut back since. It ends first, and
-- nothing new comes in after it.
-- What a pause of its course or batch keeps back is new and not sent; 'stopped' is all that is new while everything is
-- paused. joining.lua has what it means to join an entry.
local bound, wait, bound_of_run = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[6])
local each, all = tonumber(ARGV[4]), tonumber(ARGV[5])
local total, off = tonumber(redis.call('GET', count) or '0'), let_off(each)
local free, is_stopped = bound - total + open_of_runs() + math.min(off, all), is_paused('all') or is_paused('drain')
local rows, is_held = {}, false

local function take_in(open, offset, run)
  redis.call('ZADD', open, offset, offset)
  total = total + 1
  if run == '' then
    free = free - 1
  else
    redis.call('SADD', runs_open, run)
    count_for_run(run, 'submitted')
  end
end

for at = 7, #ARGV, 12 do
  local id, enrolment, offset = ARGV[at], ARGV[at + 1], ARGV[at + 4]
  local requested, repeated, run = tonumber(ARGV[at + 5]), ARGV[at + 10], ARGV[at + 11]
  local entry, open = entry_key(id), open_key(ARGV[at + 2], ARGV[at + 3])
  local other, is_own = redis.call('HGET', waiting, enrolment), redis.call('EXISTS', entry) == 1
  local has_joined = not is_own and redis.call('ZSCORE', open, offset)

  if (is_own and is_another(entry, enrolment, run == '' and ARGV[at + 9]))
    or (has_joined and is_of_another(open, offset, enrolment)) then
    is_held = true
    rows[#rows + 1] = {'taken', 0, id}
  elseif is_own then
    -- a bridge died before it committed
    if repeated == '1' then mark_repeated(entry, requested) end
    rows[#rows + 1] = {'known', to_send(entry), id}
  elseif has_joined then
    -- collapsed earlier into an entry that is still open, whichever of the enrolment's it was; one that it brought out
    -- of its lane may not have been sent
    local runs = redis.call('HGET', running, enrolment)
    for _, into in ipairs(repeated == '1' and {other or '', runs or ''} or {}) do
      if redis.call('EXISTS', entry_key(into)) == 1 then mark_repeated(entry_key(into), requested) end
    end
    local promoted = other and redis.call('HEXISTS', entry_key(other), 'promoted') == 1
    rows[#rows + 1] = {'known', promoted and to_send(entry_key(other)) or 0, other or ''}
  elseif is_stopped then
    rows[#rows + 1] = {'stopped', 0, ''}
  elseif is_held or free <= 0 or (run ~= '' and redis.call('ZCARD', open) >= bound_of_run) then
    rows[#rows + 1] = {'full', 0, ''}
  elseif other and takes_more(entry_key(other)) then
    take_in(open, offset, run)
    redis.call('RPUSH', also_key(other), open, offset)
    redis.call('HSET', joined_key(open), offset, other)
    local what, lane = unpack(redis.call('HMGET', entry_key(other), 'parked', 'lane'))
    if what and run == '' then redis.call('HINCRBY', parked, what, 1) end
    if repeated == '1' then mark_repeated(entry_key(other), requested) end
    if run ~= '' then
      count_for_run(run, 'collapsed')
      redis.call('HSET', entry_key(other), 'repairing', 1)
    end
    local promoted = run == '' and lane and promote(other, entry_key(other), enrolment, wait)
    rows[#rows + 1] = {'collapsed', promoted or 0, other}
  else
    take_in(open, offset, run)
    redis.call('HSET', entry, 'version', 1, 'state', 'waiting', 'generation', 1, 'enrolment', enrolment,
      'open', open, 'offset', offset, 'requested', whole(requested), 'request', ARGV[at + 6], 'event', ARGV[at + 9],
      'repeated', repeated, 'attempts', 0, 'waits', 0, 'crashes', 0, 'sweeps', 1, 'alone', 0, 'token', '',
      'accepted', now)
    if ARGV[at + 8] == '1' then redis.call('HSET', entry, 'key', ARGV[at + 7]) end
    if run ~= '' then redis.call('HSET', entry, 'lane', run, 'repairing', 1) end
    redis.call('ZADD', ages, now, id)
    redis.call('HSET', waiting, enrolment, id)
    local scope = paused_by(enrolment)
    if scope then
      shelve(id, entry, scope)
      -- it waits for one thing alone; counted on from the beginning, since there may be thousands of such things
      if scope ~= 'all' and tonumber(redis.call('HGET', parked, scope)) <= each then
        off = off + 1
        if off <= all then free = free + 1 end
      end
    else
      redis.call('ZADD', due, now + (run == '' and 1 or LANE_PATIENCE) * wait, id)
    end
    rows[#rows + 1] = {'new', scope and 0 or 1, id}
  end
end
redis.call('SET', count, total)
return rows
