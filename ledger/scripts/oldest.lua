-- Says when the oldest open entry was accepted. ARGV: now. Returns one row: the time in ms, or -1 where none is open.
-- An entry that an older release ended is still listed: it goes now, a hundred of them at a time.
for _ = 1, 100 do
  local first = redis.call('ZRANGE', ages, 0, 0, 'WITHSCORES')
  if not first[1] then break end
  if redis.call('EXISTS', entry_key(first[1])) == 1 then return {tonumber(first[2])} end
  redis.call('ZREM', ages, first[1])
end
return {-1}
