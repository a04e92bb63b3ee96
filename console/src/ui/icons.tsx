// Line icons, drawn for this console: 24 units, one stroke.
const paths = {
  overview: 'M4 13h6V4H4zM14 20h6v-9h-6zM4 20h6v-3H4zM14 4v3h6V4z',
  tenants: 'M4 20V6l8-3 8 3v14M4 20h16M9 20v-5h6v5M9 9h.01M15 9h.01M12 9h.01',
  channels: 'M3 7.500 12 13l9-5.500M5 5h14a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2V7a2 2 0 0 1 2-2z',
  messages: 'M4 13h4l2 3h4l2-3h4M4 13l3-8h10l3 8v5a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2z',
  apps: 'M12 15a4 4 0 1 0-4-4M8 11l-5 5v4h4l1-1v-2h2v-2h1l1-1M15 8.500h.01',
  webhooks: 'M10 7.500a3 3 0 1 1 4 2.800L17.500 16M6.500 16.500 10 10M17 19a3 3 0 1 0-2.800-4M7 13a3 3 0 1 0 3 4h6',
  cluster: 'M12 3v5M12 16v5M4 7.500 8.500 10M15.500 14l4.500 2.500M20 7.500 15.500 10M8.500 14 4 16.500M12 8l3.500 2v4L12 16l-3.500-2v-4z',
  out: 'M14 8V5a1 1 0 0 0-1-1H6a1 1 0 0 0-1 1v14a1 1 0 0 0 1 1h7a1 1 0 0 0 1-1v-3M10 12h11M18 9l3 3-3 3',
  sun: 'M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.400 1.400M17.600 17.600 19 19M5 19l1.400-1.400M17.600 6.400 19 5',
  moon: 'M20 14.500A8.500 8.500 0 1 1 9.500 4 7 7 0 0 0 20 14.500z',
  menu: 'M4 7h16M4 12h16M4 17h16',
  close: 'M6 6l12 12M18 6 6 18',
  plus: 'M12 5v14M5 12h14',
  search: 'M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM20 20l-4-4',
  check: 'M5 12.500 10 17l9-10',
  cross: 'M7 7l10 10M17 7 7 17',
  circle: 'M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16z',
  warn: 'M12 9v4M12 17h.01M10.300 4 2.500 18a2 2 0 0 0 1.700 3h15.600a2 2 0 0 0 1.700-3L13.700 4a2 2 0 0 0-3.400 0z',
  info: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v5M12 8h.01',
  good: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM8.500 12l2.500 2.500 4.500-5',
  spinner: 'M12 3a9 9 0 1 0 9 9',
  up: 'M6 15l6-6 6 6',
  down: 'M6 9l6 6 6-6',
  back: 'M15 6l-6 6 6 6',
  link: 'M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1',
  test: 'M9 3h6M10 3v6L4.500 18.500A1.500 1.500 0 0 0 6 21h12a1.500 1.500 0 0 0 1.500-2.500L14 9V3M7.500 14h9',
  file: 'M14 3H7a1 1 0 0 0-1 1v16a1 1 0 0 0 1 1h10a1 1 0 0 0 1-1V7zM14 3v4h4',
  download: 'M12 4v11M7.500 11l4.500 4.500L16.500 11M5 20h14',
  key: 'M14 10a4 4 0 1 0-3.500 4L12 15.500h2v2h2V20h4v-3l-6.200-6.200',
  external: 'M14 4h6v6M20 4l-9 9M18 14v5a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V7a1 1 0 0 1 1-1h5',
};
export type IconName = keyof typeof paths;

export function Icon({ name, size = 18, spin }: { name: IconName; size?: number; spin?: boolean }) {
  return (
    <svg
      class={spin ? 'spin' : undefined}
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      stroke-width="1.700"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      <path d={paths[name]} />
    </svg>
  );
}

export function Logo({ size = 26 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" fill="#2f5bd7" />
      <path d="M7 11.500 16 18l9-6.500V22a2 2 0 0 1-2 2H9a2 2 0 0 1-2-2z" fill="#fff" />
      <path d="M7.600 9.200A2 2 0 0 1 9 8.600h14a2 2 0 0 1 1.400.600L16 15.200z" fill="#bfd0ff" />
    </svg>
  );
}
