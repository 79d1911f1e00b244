-- Frees the lease when the epoch leads. KEYS: lease, epoch. ARGV: ours, channel.
if redis.call('GET', KEYS[2]) == ARGV[1] and redis.call('DEL', KEYS[1]) == 1 then
  redis.call('PUBLISH', ARGV[2], '')
  return 1
end
return 0
