-- This transaction's end is not waited for on disk. A later one that is waited for takes it along: the log is written in order.
SELECT set_config('synchronous_commit', 'off', true)
