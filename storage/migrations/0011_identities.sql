-- What the messages of a maildrop were told apart by when it was listed last: 'uidl', or 'digest' of their heads where the server has no UIDL. When that
-- changes, every identity does, and what is known is looked for before anything is stored. '': not known (a cursor of before; the ledger tells).
ALTER TABLE cursors ADD COLUMN names text NOT NULL DEFAULT '';

-- What was to be done at the server with the message when it was stored: 'seen', 'delete'. NULL: nothing, or stored by a version that did not say. A further
-- identity says what the first one says. What was stored to be kept is kept, whatever the channel is set to later.
ALTER TABLE ledger ADD COLUMN after_fetch text;
