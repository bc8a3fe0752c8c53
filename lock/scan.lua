-- Reads one page of a hash.
--
-- ARGV  7 which of KEYS, 8 cursor
-- reply ok, µs, next cursor ("0" at the end), then fields and values; of jobs,
--       for each also the entry of its lock, if the record says that it runs
local key = KEYS[tonumber(ARGV[7])]
local page = redis.call('HSCAN', key, ARGV[8], 'COUNT', '500')
local found = page[2]
local out = {'ok', stamp, page[1]}
if key ~= JOBS then
  for _, s in ipairs(found) do add(out, s) end
  return out
end
for i = 1, #found, 2 do
  local place, rec = found[i], found[i + 1]
  local running = sub(rec, 1, 2) == 'Jr'
  if not (find(rec, RECORD) and forgotten(place, sub(rec, 2, 2))) then
    add(out, place, rec)
    add(out, running and redis.call('HGET', LOCKS, resourceIn(place)) or '')
  end
end
return out
