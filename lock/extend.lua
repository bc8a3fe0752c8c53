-- Renews leases; never shortens one.
--
-- ARGV  7 first end of the entries wanted, or "0" unless all are wanted whole;
--       8 lease (14 digits); 9 the first 31 characters of all entries wanted, which
--       one call has granted, or ""; then all resources, and with "" for each a want
--       as entry.lua's wanted reads it
-- reply ok, µs, then "0" and G if all are a group of expiry; then index and entry of
--       each that was not set to the lease: "" if nobody has it, "?" for one that is
--       not ours, another's entry, or its own, which lasts longer already; and of
--       each that was wanted by its owner alone, whose fence the caller may not know.
-- It never revives a lapsed lock and never changes another's. It makes no group: of
-- what is renewed together again and again, but never the same, the old ones would
-- be there until they are due.
local lease, head = ARGV[8], ARGV[9]
local count = head ~= '' and #ARGV - 9 or (#ARGV - 9) / 2
local found = redis.call('HMGET', LOCKS, unpack(ARGV, 10, 9 + count))
local joined = sub(head, 1, 1) == 'G' and tonumber(lease) <= 60000 and table.concat(ARGV, '\0', 10, 9 + count) or ''
local group = redis.call('ZSCORE', EXPIRY, joined) -- and of the right type, before anything is written

local fresh = expiryAfter(lease)
local same = tonumber(ARGV[7]) > now and not PUBLISH and sub(head, 2, 15) <= fresh
for i = 1, count do
  if not same then break end
  local v = found[i]
  if head == '' then
    same = v == ARGV[9 + count + i] and sub(v, 2, 15) <= fresh
  else
    same = v and find(v, head, 1, true) == 1
  end
end
if same then -- by far the most frequent case, before anything else is built
  local list, first = {unpack(ARGV, 10, 9 + 2 * count)}, (group and 'G' or 'L') .. fresh -- of the right size
  local e = score(fresh)
  permit('HSET', LOCKS, '', '')
  if group then
    redis.call('ZADD', EXPIRY, e, joined)
  else
    for i = 1, count do
      list[2 * i - 1], list[2 * i] = e, ARGV[9 + i]
    end
    redis.call('ZADD', EXPIRY, unpack(list))
  end
  for i = 1, count do
    local v = found[i]
    list[2 * i - 1], list[2 * i] = ARGV[9 + i], first .. sub(v, 16, 45) .. lease .. sub(v, 60)
  end
  redis.call('HSET', LOCKS, unpack(list))
  return group and {'ok', stamp, '0', 'G'} or {'ok', stamp}
end

--@library

local names = {unpack(ARGV, 10, 9 + count)}
local out = {'ok', stamp}
for i, r in ipairs(names) do
  local v = found[i]
  local kind, e = look(v)
  local want = ARGV[9 + count + i] or ''
  if kind == 'held' and (head == '' and wanted(v, want) or head ~= '' and sub(v, 16, 31) == sub(head, 16)) then
    if lasting(e, leaseIn(v)) > tonumber(fresh) then
      add(out, tostring(i), v)
    else
      local renewed = 'L' .. fresh .. sub(v, 16, 45) .. lease .. ownerIn(v)
      putLock(r, renewed)
      if sub(want, 1, 1) == 'W' then add(out, tostring(i), renewed) end
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
