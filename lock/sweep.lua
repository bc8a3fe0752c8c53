-- Settles what has run out, for those who watch.
--
-- ARGV  7 how many entries at the most
-- reply ok, µs, number of the shard's last event (this call's included), "1" if
--       there is more to sweep
local more = sweep(ARGV[7], {})
trim('50', {})
if not meta[3] then -- numbers begin somewhere, so that a first event can be missed
  permitted()
  redis.call('HSET', META, 'event', stamp)
  meta[3] = stamp
end
more = flush(true) and more -- what could not be written is not tried again at once
return {'ok', stamp, num(meta[3] + #events), more and '1' or ''}
