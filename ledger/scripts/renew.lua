-- Keeps claims alive while their attempts run. ARGV: now, lease in ms, then 2 an entry: id, token.
-- Returns 1 for each claim that is still held, else 0.
may_grow()
local lease = tonumber(ARGV[2])
local rows = {}
for at = 3, #ARGV, 2 do
  local held = redis.call('HGET', entry_key(ARGV[at]), 'token') == ARGV[at + 1]
  if held then redis.call('ZADD', due, now + lease, ARGV[at]) end
  rows[#rows + 1] = held and 1 or 0
end
return rows
