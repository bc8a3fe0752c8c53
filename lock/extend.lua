-- Renews leases; never shortens one.
--
-- ARGV  7 first end of the entries wanted, or "0" unless all are wanted whole;
--       8 lease (14 digits); then all resources, and for each a want as
--       entry.lua's wanted reads it
-- reply ok, µs, then index and entry of each that was not set to the lease: ""
--       if nobody has it, "?" for one that is not ours, another's entry, or its
--       own, which lasts longer already; and of each that was wanted by its
--       owner alone, whose fence the caller may not know.
-- It never revives a lapsed lock and never changes another's.
local lease, count = ARGV[8], (#ARGV - 8) / 2
local found = redis.call('HMGET', LOCKS, unpack(ARGV, 9, 8 + count))
redis.call('ZSCORE', EXPIRY, '') -- of the right type, before anything is written

local fresh = expiryAfter(lease)
local same = tonumber(ARGV[7]) > now and not PUBLISH
for i = 1, count do
  if not same then break end
  local v = found[i]
  same = v == ARGV[8 + count + i] and sub(v, 2, 15) <= fresh
end
if same then -- by far the most frequent case, before anything else is built
  local list, head = {unpack(ARGV, 9)}, 'L' .. fresh -- of the right size
  local e = score(fresh)
  for i = 1, count do
    list[2 * i - 1], list[2 * i] = e, ARGV[8 + i]
  end
  redis.call('ZADD', EXPIRY, unpack(list))
  for i = 1, count do
    local v = found[i]
    list[2 * i - 1], list[2 * i] = ARGV[8 + i], head .. sub(v, 16, 45) .. lease .. sub(v, 60)
  end
  redis.call('HSET', LOCKS, unpack(list))
  return {'ok', stamp}
end

--@library

local names = {unpack(ARGV, 9, 8 + count)}
local out = {'ok', stamp}
for i, r in ipairs(names) do
  local v = found[i]
  local kind, e = look(v)
  if kind == 'held' and wanted(v, ARGV[8 + count + i]) then
    if lasting(e, leaseIn(v)) > tonumber(fresh) then
      add(out, tostring(i), v)
    else
      local renewed = 'L' .. fresh .. sub(v, 16, 45) .. lease .. ownerIn(v)
      putLock(r, renewed)
      if sub(ARGV[8 + count + i], 1, 1) == 'W' then add(out, tostring(i), renewed) end
      if PUBLISH then emit('e', r, ownerIn(v), fenceIn(v)) end
    end
  elseif kind == 'bad' then
    add(out, tostring(i), '?')
  elseif kind == 'held' or kind == 'offer' then
    add(out, tostring(i), v)
  else
    add(out, tostring(i), '')
  end
end
flush()
return out
