-- What the messages of a maildrop were told apart by when it was listed last: 'uidl', or 'digest' of their heads where the server has no UIDL. When that
-- changes, every identity does, and what is known is looked for before anything is stored. '': not known (a cursor of before; the ledger tells).
ALTER TABLE cursors ADD COLUMN names text NOT NULL DEFAULT '';
