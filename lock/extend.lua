-- Renews leases; never shortens one.
--
-- ARGV  7 lease (14 digits); then for each: resource, want as in unlock.lua
-- reply ok, µs, then index and entry of each that was not set to the lease: ""
--       if nobody has it, "?" for one that is not ours, another's entry, or its
--       own, which lasts longer already; and of each that was wanted by its
--       owner alone, whose fence the caller may not know.
-- It never revives a lapsed lock and never changes another's.
local lease = ARGV[7]
local names, wants = arguments(8, 2)
local found = redis.call('HMGET', LOCKS, unpack(names))
typed(EXPIRY) -- before anything is written

local fresh = expiryAfter(lease)
local out = {'ok', stamp}
for i, r in ipairs(names) do
  local v = found[i]
  local kind, e = look(v)
  if kind == 'held' and wanted(v, wants[i]) then
    if lasting(e, leaseIn(v)) > tonumber(fresh) then
      add(out, tostring(i), v)
    else
      local renewed = 'L' .. fresh .. sub(v, 16, 45) .. lease .. ownerIn(v)
      putLock(r, renewed)
      if sub(wants[i], 1, 1) == 'W' then add(out, tostring(i), renewed) end
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
