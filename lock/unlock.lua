-- Releases locks and hands them over.
--
-- ARGV  from 7 for each: resource, want = the whole entry, or F fence(19) owner,
--       or W owner, or * for anybody's
-- reply ok, µs, then index and entry of each that was not released: "" if nobody
--       has it, another's entry, an offer, or "?" for one that is not ours.
-- It never releases a grant that is not the one wanted.
local names, wants = arguments(7, 2)
local found = redis.call('HMGET', LOCKS, unpack(names))
if waiting > 0 then typed(EXPIRY) end -- before anything is written

local out = {'ok', stamp}
for i, r in ipairs(names) do
  local v = found[i]
  local kind = look(v)
  if kind == 'held' and wanted(v, wants[i]) then
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
