-- Shared by every script too: what operators paused, and where it waits. See pause.lua.

-- While nothing is paused, one HLEN a script is all that it costs to know.
local is_any_paused = nil
local function knows_pauses()
  if is_any_paused == nil then is_any_paused = redis.call('HLEN', paused) > 0 end
  return is_any_paused
end
local function is_paused(scope)
  local why = knows_pauses() and redis.call('HGET', paused, scope)
  return why and why ~= ''
end

-- Says by what pause an enrolment is not to be attempted, nil by none.
local function paused_by(enrolment)
  if not knows_pauses() then return nil end
  local scopes = {'all'}
  pcall(function()
    local ids = cjson.decode(enrolment)
    scopes = {'all', 'course:' .. ids[2], 'batch:' .. ids[3]}
  end)
  for at, why in ipairs(redis.call('HMGET', paused, unpack(scopes))) do
    if why and why ~= '' then return scopes[at] end
  end
  return nil
end

-- An entry waits for the end of a pause, and spends nothing: no message is sent for it, no sweep looks at it. What one
-- course or batch keeps back is let off from the bound; see `counted`.
local function unshelve(id, entry, scope)
  redis.call('ZREM', shelf_key(scope), id)
  redis.call('HDEL', entry, 'shelf')
end
local function shelve(id, entry, scope)
  local seen = redis.call('HMGET', entry, 'shelf', 'accepted', 'parked')
  if seen[1] and seen[1] ~= scope then unshelve(id, entry, seen[1]) end
  if scope ~= 'all' and seen[3] ~= scope then
    unpark(id, entry)
    park(id, entry, scope)
  end
  redis.call('HSET', entry, 'shelf', scope, 'sweeps', 0, 'blocked', 0)
  redis.call('ZADD', shelf_key(scope), seen[2] or now, id)
  redis.call('ZREM', due, id)
end
