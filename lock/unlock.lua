-- Releases locks and hands them over.
--
-- ARGV  7 time of the first send (µs), or "0" for a first send; 8 first end (ms)
--       of the entries wanted, or "0" unless all are wanted whole; then all
--       resources, and for each a want as entry.lua's wanted reads it
-- reply ok, µs, then index and entry of each that was not released: "" if nobody
--       has it, another's entry, an offer, "?" for one that is not ours, or "!"
--       for a grant later than the first send, where only its owner is wanted
-- It never releases a grant that is not the one wanted.
local count = (#ARGV - 8) / 2
local found = redis.call('HMGET', LOCKS, unpack(ARGV, 9, 8 + count))
waiting = redis.call('ZCARD', QUEUE)
local same = waiting == 0 and not PUBLISH and tonumber(ARGV[8]) > now
for i = 1, count do
  if found[i] ~= ARGV[8 + count + i] then same = false break end
end
if same then -- by far the most frequent case, before anything else is built
  redis.call('ZREM', EXPIRY, unpack(ARGV, 9, 8 + count))
  redis.call('HDEL', LOCKS, unpack(ARGV, 9, 8 + count))
  return {'ok', stamp}
end

--@library

local since = tonumber(ARGV[7])
local names = {unpack(ARGV, 9, 8 + count)}

local out = {'ok', stamp}
for i, r in ipairs(names) do
  local v = found[i]
  local kind = look(v)
  local want = ARGV[8 + count + i]
  if kind == 'held' and wanted(v, want) and since > 0 and find(want, '^[W*]') and tonumber(sub(v, 16, 31)) > since then
    add(out, tostring(i), '!')
  elseif kind == 'held' and wanted(v, want) then
    if PUBLISH then emit('u', r, ownerIn(v), fenceIn(v)) end
    vacate(r)
  elseif kind == 'bad' then
    add(out, tostring(i), '?')
  elseif kind == 'held' or kind == 'offer' then
    add(out, tostring(i), v)
  else
    add(out, tostring(i), '')
  end
end
flush(true)
return out
