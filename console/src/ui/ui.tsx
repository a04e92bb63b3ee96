// The pieces pages are made of, in one place to take them from.
export * from './base';
export * from './dialogs';
export * from './form';
