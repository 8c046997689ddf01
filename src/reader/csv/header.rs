//! The names of columns.

use std::collections::{HashMap, HashSet};

/// Names as pandas makes them unique: an empty one becomes `Unnamed: 2`, a second `a` becomes `a.1`.
pub(super) fn unique(names: Vec<String>) -> Vec<String> {
    let empty: Vec<usize> = names
        .iter()
        .enumerate()
        .filter(|(_, name)| name.is_empty())
        .map(|(index, _)| index)
        .collect();
    let mut names = names;
    for index in &empty {
        if let Some(name) = names.get_mut(*index) {
            *name = format!("Unnamed: {index}");
        }
    }
    // Names that were given are kept where one of them is also made up.
    let given = (0..names.len()).filter(|index| empty.binary_search(index).is_err());
    let order: Vec<usize> = given.chain(empty.iter().copied()).collect();
    let mut taken: HashSet<String> = names.iter().cloned().collect();
    let mut counts: HashMap<String, usize> = HashMap::new();
    for index in order {
        let Some(old) = names.get(index).cloned() else { continue };
        let mut name = old.clone();
        let mut count = counts.get(&name).copied().unwrap_or(0);
        while count > 0 {
            counts.insert(old.clone(), count + 1);
            name = format!("{old}.{count}");
            if taken.contains(&name) {
                count += 1;
            } else {
                count = counts.get(&name).copied().unwrap_or(0);
            }
        }
        taken.insert(name.clone());
        counts.insert(name.clone(), count + 1);
        if let Some(slot) = names.get_mut(index) {
            *slot = name;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str], unique_names: &[&str]) {
        assert_eq!(unique(names.iter().map(|name| (*name).to_owned()).collect()), unique_names);
    }

    #[test]
    fn duplicates_and_empty_names() {
        check(&["a", "a", "b"], &["a", "a.1", "b"]);
        check(&["a", "b", "a", "a.1", "a"], &["a", "b", "a.2", "a.1", "a.3"]);
        check(&["a.1", "a", "a"], &["a.1", "a", "a.2"]);
        check(&["", "", "a", ""], &["Unnamed: 0", "Unnamed: 1", "a", "Unnamed: 3"]);
        check(&["Unnamed: 1", "", ""], &["Unnamed: 1", "Unnamed: 1.1", "Unnamed: 2"]);
    }
}
