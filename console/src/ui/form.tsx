// Fields of forms: labelled, with their errors where eyes and screen readers look for them.
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';
import type { ApiError, FieldError } from '../api';
import { Notice } from './base';

type Children = ComponentChildren;

export interface FieldProps {
  label: string;
  value: string;
  onValue: (value: string) => void;
  name?: string;
  errors?: FieldError[];
  hint?: Children;
  type?: string;
  placeholder?: string;
  required?: boolean;
  rows?: number;
  auto?: string;
  focus?: boolean;
  options?: [string, string][];
  disabled?: boolean;
}

/** A labelled input. `name`: the field's name in the API, by which its errors find it. */
export function Field({
  label,
  value,
  onValue,
  name,
  errors,
  hint,
  type = 'text',
  placeholder,
  required,
  rows,
  auto = 'off',
  focus,
  options,
  disabled,
}: FieldProps) {
  const id = useId();
  const input = useRef<HTMLInputElement>(null);
  const wrong = errors
    ?.filter((e) => e.field === name)
    .map((e) => e.message)
    .join('; ');
  useEffect(() => {
    if (focus) input.current?.focus();
  }, []);
  const told = [hint && `${id}-hint`, wrong && `${id}-error`].filter(Boolean).join(' ') || undefined;
  const common = {
    id,
    value,
    name,
    required,
    disabled,
    'aria-invalid': wrong ? ('true' as const) : undefined,
    'aria-describedby': told,
    onInput: (e: Event) => onValue((e.currentTarget as HTMLInputElement).value),
  };
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {options ? (
        <select {...common}>
          {options.map(([v, words]) => (
            <option key={v} value={v}>
              {words}
            </option>
          ))}
        </select>
      ) : rows ? (
        <textarea {...common} rows={rows} placeholder={placeholder} spellcheck={false} />
      ) : (
        <input {...common} ref={input} type={type as 'text'} placeholder={placeholder} autocomplete={auto} spellcheck={false} autocapitalize="off" />
      )}
      {hint && (
        <div class="hint" id={`${id}-hint`}>
          {hint}
        </div>
      )}
      {wrong && (
        <div class="error" id={`${id}-error`}>
          {label} {wrong}
        </div>
      )}
    </div>
  );
}

export function Choices<T extends string>({
  legend,
  value,
  onValue,
  options,
  name,
}: {
  legend: string;
  value: T;
  onValue: (v: T) => void;
  name: string;
  options: { value: T; title: Children; hint?: Children }[];
}) {
  return (
    <fieldset>
      <legend>{legend}</legend>
      <div class="choices">
        {options.map((o) => (
          <label class="choice" key={o.value}>
            <input type="radio" name={name} value={o.value} checked={o.value === value} onChange={() => onValue(o.value)} />
            <span class="title">{o.title}</span>
            {o.hint && <span class="hint">{o.hint}</span>}
          </label>
        ))}
      </div>
    </fieldset>
  );
}

export function Check({ label, checked, onValue, hint }: { label: Children; checked: boolean; onValue: (v: boolean) => void; hint?: Children }) {
  return (
    <label class="check">
      <input type="checkbox" checked={checked} onChange={(e) => onValue(e.currentTarget.checked)} />
      <span>
        {label}
        {hint && (
          <span class="muted small">
            <br />
            {hint}
          </span>
        )}
      </span>
    </label>
  );
}

/** Errors of fields that the form does not show, and of the request as a whole. */
export function FormError({ error, shown = [] }: { error: ApiError | null; shown?: string[] }) {
  if (!error) return null;
  const rest = error.fields.filter((f) => !shown.includes(f.field));
  if (error.fields.length > 0 && rest.length === 0)
    return (
      <Notice tone="bad" live>
        Please correct what is marked above.
      </Notice>
    );
  return (
    <Notice tone="bad" live>
      {rest.length > 0
        ? rest.map((f) => (
            <div key={f.field}>
              {f.field ? `${f.field}: ` : ''}
              {f.message}
            </div>
          ))
        : error.message}
    </Notice>
  );
}
