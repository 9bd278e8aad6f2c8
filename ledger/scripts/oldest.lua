-- Says when the oldest open entry was accepted, of the hundred that the sweep looks at next. ARGV: now.
-- Returns one row: the time in ms, or -1 where none is open.
local oldest = -1
for _, id in ipairs(redis.call('ZRANGE', due, 0, 99)) do
  local accepted = tonumber(redis.call('HGET', entry_key(id), 'accepted') or '')
  if accepted and (oldest < 0 or accepted < oldest) then oldest = accepted end
end
return {oldest}
